"""SeeSR: semantics-aware diffusion super-resolution (Wu et al., CVPR 2024, arXiv:2311.16518), for whole batches."""
