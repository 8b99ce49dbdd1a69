"""The Hugging Face model behind one interface: loading, packing, parts, pooling, weights, random streams."""
