"""Canvas, read through its REST API: docs/canvas.md tells by which calls, and what Canvas can't tell."""

from lms_crm_assets.lms.canvas.adapter import CanvasAdapter

__all__ = ["CanvasAdapter"]
