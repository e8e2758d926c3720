"""Writing what is here so that it can be carried elsewhere: it is selected, proved, and put into a bundle."""
