"""Engines that run checkpoints with the spandrel library: any that it detects, and Real-ESRGAN's."""
