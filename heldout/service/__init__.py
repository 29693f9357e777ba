"""What every process of the service needs but clients do not: settings, and how processes start and stop."""
