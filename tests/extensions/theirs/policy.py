"""An admission policy of somebody else's: long prompts first."""


class LongPromptsFirst:
    def key(self, state):
        return -state.request.input_tokens
