"""What an audit on the spot adds to the service's: odd images, groups that file names suggest, and a page."""
