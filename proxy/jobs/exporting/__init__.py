"""Writing what is here so that it can be carried elsewhere: what is selected, proved, and put into a bundle."""
