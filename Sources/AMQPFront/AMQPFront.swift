enum AMQPFrontPlaceholder {}
