"""HTTP origins: what is asked of a server of images, and what its answers mean."""
