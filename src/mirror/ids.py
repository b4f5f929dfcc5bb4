"""Names and units that must not be mixed: patients, samples, slides; TCGA barcodes are parsed here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

from mirror.errors import DataError

PatientId = NewType("PatientId", str)
SampleId = NewType("SampleId", str)
SlideId = NewType("SlideId", str)

DAYS_PER_MONTH = 30.4375
"""Mean Gregorian month, as in the clinical tables of TCGA that give months (365.25 / 12)."""

_TCGA = re.compile(
    r"^(?P<patient>[A-Z0-9]+-[A-Z0-9]{2}-[A-Z0-9]{4})"
    r"(?:-(?P<type>\d{2})(?P<vial>[A-Z])?(?P<rest>-.*)?)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TcgaBarcode:
    """A TCGA barcode taken apart: `TCGA-A1-A0SB-01A-11R-A144-07` and its shorter forms.

    `sample_type` is the two-digit code (01-09 tumour, 10-19 normal, 20-29 control), or None in a patient barcode.
    """

    text: str
    patient: PatientId
    sample_type: str | None

    @classmethod
    def parse(cls, text: str) -> TcgaBarcode:
        """Take a barcode apart. Raises `DataError` when `text` is not one."""
        barcode = cls.of(text)
        if barcode is None:
            raise DataError(
                f"'{text}' is not a TCGA barcode (such as TCGA-A1-A0SB or TCGA-A1-A0SB-01A-11R-A144-07); "
                "if these identifiers are the patients' own, set `identifiers: patient`"
            )
        return barcode

    @classmethod
    def of(cls, text: str) -> TcgaBarcode | None:
        """The same where a name may as well be another; None of one that is no barcode."""
        # Matrices exported by R have dots for dashes.
        match = _TCGA.match(text.strip().replace(".", "-"))
        return None if match is None else cls(text, PatientId(match["patient"].upper()), match["type"])

    @property
    def source_site(self) -> str:
        """The code of the hospital that sent the tissue: `A1` of `TCGA-A1-A0SB`."""
        return self.patient.split("-")[1]

    @property
    def is_tumour(self) -> bool:
        """True for tumour samples, and for patient barcodes, which name no sample."""
        return self.sample_type is None or self.sample_type < "10"
