enum HubClientPlaceholder {}
