enum HubModelPlaceholder {}
