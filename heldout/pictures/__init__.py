"""Pictures of trainings and gaps, as SVG, HTML, PNG and characters; and the markup and scales that they are made of."""
