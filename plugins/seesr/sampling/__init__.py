"""From noise to latents: the schedule of the steps, their noise, the windows of large latents, and the loop."""
