enum HubTestingPlaceholder {}
