"""An encoder is a Hugging Face model behind one interface: its loading, packing, parts, pooling, weights, streams."""
