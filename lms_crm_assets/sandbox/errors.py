"""What the control routes refuse."""


class SandboxRequestError(Exception):
    """A control request that makes no sense; answered 400 with the message."""
