"""Arguments of a constructor as parameters that can be read, changed and shown, as scikit-learn expects them."""

import inspect
from typing import Any, Self


class Estimator:
    """An object that keeps each argument of its constructor in an attribute of the same name."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments as they are now; `deep` is accepted for scikit-learn's sake."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Self:
        """Change constructor's arguments.

        Raises:
            ValueError: If there is no such argument.
        """
        known = self._defaults()
        if unknown := sorted(params.keys() - known.keys()):
            message = f"parameters are unknown: expected some of {', '.join(known)}, got {', '.join(unknown)}."
            raise ValueError(message)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        usual = self._defaults()
        changed = (f"{name}={value!r}" for name, value in self.get_params().items() if value != usual[name])
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """Tags of the estimator for scikit-learn, which alone calls this method."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=True))

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        return {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
