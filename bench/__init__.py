"""What the product costs beside what people would use instead, on one machine in one run."""
