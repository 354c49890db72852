"""Stand-ins for the CTK widgets that the panels use: the properties, signals and methods of the real ones, no more."""

import math

from PySide6.QtCore import Property, QDir, QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QSlider,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QToolButton,
    QWidget,
)

SLIDER_STEPS = 1000


class ctkCollapsibleButton(QWidget):  # noqa: N801 - CTK's name
    """A titled section that folds; its contents are its children, as in CTK."""

    contentsCollapsed = Signal(bool)
    toggled = Signal(bool)
    clicked = Signal(bool)
    HEADER_PX = 24

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self.setContentsMargins(0, self.HEADER_PX, 0, 0)

    def _get_text(self) -> str:
        return self._text

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        # The real one hides what it holds and gives its height back.
        for child in self.children():
            if isinstance(child, QWidget):
                child.setVisible(not collapsed)
        self.setMaximumHeight(self.HEADER_PX if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    text = Property(str, _get_text, _set_text)
    collapsed = Property(bool, _get_collapsed, _set_collapsed)

    def paintEvent(self, event: object) -> None:  # noqa: N802
        painter = QStylePainter(self)
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self.HEADER_PX - 2)
        painter.drawControl(QStyle.ControlElement.CE_PushButtonBevel, option)
        arrow = QStyle.PrimitiveElement.PE_IndicatorArrowRight if self._collapsed else (
            QStyle.PrimitiveElement.PE_IndicatorArrowDown)
        text_rect = option.rect.adjusted(24, 0, 0, 0)
        option.rect = option.rect.adjusted(6, 6, -(option.rect.width() - 16), -6)
        painter.drawPrimitive(arrow, option)
        painter.drawText(text_rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self._text)

    def mousePressEvent(self, event: object) -> None:  # noqa: N802
        self._set_collapsed(not self._collapsed)


class ctkSliderWidget(QWidget):  # noqa: N801
    """Slider and spin box with one value."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    SIGNATURES = ("valueChanged(double)", "valueIsChanging(double)")

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider, self._box = QSlider(Qt.Orientation.Horizontal), QDoubleSpinBox()
        self._slider.setRange(0, SLIDER_STEPS)
        self._box.setRange(0.0, 99.0)
        self._box.setDecimals(2)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self._on_box)
        self._slider.valueChanged.connect(self._on_slider)

    def _on_box(self, value: float) -> None:
        self._show_on_slider()
        self.valueChanged.emit(value)

    def _on_slider(self, step: int) -> None:
        self._box.setValue(self._box.minimum() + step / SLIDER_STEPS * (self._box.maximum() - self._box.minimum()))

    def _show_on_slider(self) -> None:
        span = self._box.maximum() - self._box.minimum()
        with QSignalBlocker(self._slider):
            self._slider.setValue(
                round((self._box.value() - self._box.minimum()) / span * SLIDER_STEPS) if span > 0 else 0)

    def _set_minimum(self, value: float) -> None:
        self._box.setMinimum(value)
        self._show_on_slider()

    def _set_maximum(self, value: float) -> None:
        self._box.setMaximum(value)
        self._show_on_slider()

    def _set_value(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"a slider cannot show {value}")
        self._box.setValue(value)

    def _set_step(self, step: float) -> None:
        # CTK refuses a step that the range does not hold, silently; here it is an error of the .ui file.
        if not 0 < step <= self._box.maximum() - self._box.minimum():
            raise ValueError(f"single step {step} does not fit the range of the slider")
        self._box.setSingleStep(step)

    value = Property(float, lambda self: self._box.value(), _set_value, notify=valueChanged)
    minimum = Property(float, lambda self: self._box.minimum(), _set_minimum)
    maximum = Property(float, lambda self: self._box.maximum(), _set_maximum)
    singleStep = Property(float, lambda self: self._box.singleStep(), _set_step)
    decimals = Property(int, lambda self: self._box.decimals(), lambda self, value: self._box.setDecimals(value))
    suffix = Property(str, lambda self: self._box.suffix(), lambda self, value: self._box.setSuffix(value))
    prefix = Property(str, lambda self: self._box.prefix(), lambda self, value: self._box.setPrefix(value))
    tracking = Property(bool, lambda self: self._slider.hasTracking(), lambda self, on: self._slider.setTracking(on))

    @Slot(float)
    def setValue(self, value: float) -> None:  # noqa: N802
        self._set_value(float(value))

    def setRange(self, minimum: float, maximum: float) -> None:  # noqa: N802
        self._box.setRange(minimum, maximum)
        self._show_on_slider()


class ctkPathLineEdit(QWidget):  # noqa: N801
    """A path with a button that browses for it."""

    currentPathChanged = Signal(str)
    SIGNATURES = ("currentPathChanged(QString)",)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._edit, button = QLineEdit(), QToolButton()
        button.setText("...")
        layout.addWidget(self._edit, 1)
        layout.addWidget(button)
        self._name_filters: list[str] = []
        self._settings_key = ""
        self._filters = 0
        self._edit.textChanged.connect(self.currentPathChanged)

    currentPath = Property(
        str, lambda self: self._edit.text(), lambda self, path: self._edit.setText(path), notify=currentPathChanged)
    settingKey = Property(str, lambda self: self._settings_key, lambda self, key: setattr(self, "_settings_key", key))

    def _get_name_filters(self) -> list[str]:
        return self._name_filters

    def _set_name_filters(self, filters: list[str]) -> None:
        self._name_filters = list(filters)

    nameFilters = Property("QStringList", _get_name_filters, _set_name_filters)

    def addCurrentPathToHistory(self) -> None:  # noqa: N802
        """Kept for the interface; the stand-in has no history."""


class ctkDirectoryButton(QPushButton):  # noqa: N801
    """A button that shows a folder and browses for another."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    SIGNATURES = ("directoryChanged(QString)", "directorySelected(QString)")

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._directory = QDir.currentPath()
        self._caption = ""
        self._shown: str | None = None
        self._refresh()
        self.clicked.connect(self._browse)

    def _refresh(self) -> None:
        self.setText(self._directory if self._shown is None else self._shown)

    def _show_text(self, text: str) -> None:
        # As in CTK: once there is a text, an empty one too, the folder is not shown any more.
        self._shown = text
        self._refresh()

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self._caption, self._directory)
        if chosen:
            self._set_directory(chosen)

    def _set_directory(self, path: str) -> None:
        if path != self._directory:
            self._directory = path
            self._refresh()
            self.directoryChanged.emit(path)

    directory = Property(str, lambda self: self._directory, _set_directory, notify=directoryChanged)
    caption = Property(str, lambda self: self._caption, lambda self, text: setattr(self, "_caption", text))
    text = Property(str, lambda self: self._shown or "", _show_text)


class ctkMessageBox(QMessageBox):  # noqa: N801
    """What `slicer.util` shows its messages in."""


class ctkCheckBox(QCheckBox):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class ctkDoubleSpinBox(QWidget):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class ctkDoubleSlider(QWidget):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class ctkRangeWidget(QWidget):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class ctkDoubleRangeSlider(QWidget):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class ctkCheckablePushButton(QPushButton):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class ctkComboBox(QWidget):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


class ctkColorPickerButton(QPushButton):  # noqa: N801
    """Named by Slicer's GUI connectors; no panel of ours uses it."""


WIDGETS = (
    ctkCollapsibleButton, ctkSliderWidget, ctkPathLineEdit, ctkDirectoryButton, ctkMessageBox, ctkCheckBox,
    ctkDoubleSpinBox, ctkDoubleSlider, ctkRangeWidget, ctkDoubleRangeSlider, ctkCheckablePushButton, ctkComboBox,
    ctkColorPickerButton,
)
