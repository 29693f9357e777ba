"""What every process of the service needs and no client: settings, and how processes begin and end."""
