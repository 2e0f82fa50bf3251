"""One port per component: asked or stepped, in process or behind gRPC."""
