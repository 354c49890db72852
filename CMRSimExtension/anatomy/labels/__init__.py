"""What turns somebody's label voxels into smooth, beating anatomy."""
