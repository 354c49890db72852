"""Between 3D Slicer's nodes and the library's values: the only folder that imports ``slicer`` and ``vtk``.

Importing the package itself imports neither: `CMRSimExtension.slicer_bridge.jobs` also runs in a child process that
has no scene.
"""
