"""K and V beside the devices: what is kept of them in host memory, an expander, a pool or a store."""
