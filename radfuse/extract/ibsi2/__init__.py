"""The convolutional filters of IBSI chapter 2, and the settings of its reference tests."""
