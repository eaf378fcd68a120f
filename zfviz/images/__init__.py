"""Files to arrays: decoding pictures, preprocessing them as the model was trained, and the names of its classes."""
