"""A small host that starts a scripted module without the 3D Slicer application.

Real MRML comes from ``slicer-core``, Qt from PySide6 (offscreen). What those lack is stood in for here, as strictly as
Slicer's own PythonQt would treat it: a panel that works in this host must not fail in Slicer for a reason of style.
Where ``SLICER_SOURCE_DIR`` names a checkout of Slicer's sources, its own ``ScriptedLoadableModule``,
``parameterNodeWrapper``, ``i18n`` and ``packaging`` take the place of our stand-ins.
"""
