"""What a trained model saw: where on a slide, which genes, which prototypes."""
