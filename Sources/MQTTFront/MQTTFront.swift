enum MQTTFrontPlaceholder {}
