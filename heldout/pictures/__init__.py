"""Pictures of trainings, gaps and studies as SVG, HTML, PNG and text, and the scales and shapes that they use."""
