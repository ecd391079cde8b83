"""Variants and foreign layouts of every family; a family's file has VARIANTS, and FOREIGN where it reads other layouts."""

import importlib
import pkgutil

FAMILIES = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
VARIANTS = [variant for family in FAMILIES for variant in family.VARIANTS]
FOREIGN = [foreign for family in FAMILIES for foreign in getattr(family, "FOREIGN", [])]
