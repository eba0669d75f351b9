"""What answers a model call: llama.cpp in this process (``chainops.engines.llama``)."""
