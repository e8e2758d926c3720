"""What findings say: the fault, who mends it, and how. Pure.

A text names its facts in braces.
"""
