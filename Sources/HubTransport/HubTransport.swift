enum HubTransportPlaceholder {}
