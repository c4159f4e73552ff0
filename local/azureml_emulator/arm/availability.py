"""Which API versions and regions the management plane knows. Pure."""

from __future__ import annotations

import re
from datetime import date

from azureml_emulator.account import PROVIDER
from azureml_emulator.errors import ArmError

__all__ = ["check_location", "check_version"]

# Of Microsoft.MachineLearningServices, as published; the ones of the SDK's other clients last.
API_VERSIONS = (
    "2018-03-01-preview", "2018-11-19", "2019-05-01", "2019-06-01", "2019-11-01", "2020-01-01",
    "2020-02-18-preview", "2020-03-01", "2020-04-01", "2020-04-01-preview", "2020-05-01-preview",
    "2020-05-15-preview", "2020-06-01", "2020-08-01", "2020-09-01-preview", "2021-01-01",
    "2021-03-01-preview", "2021-04-01", "2021-07-01", "2022-01-01-preview", "2022-02-01-preview",
    "2022-05-01", "2022-06-01-preview", "2022-10-01", "2022-10-01-preview", "2022-12-01-preview",
    "2023-02-01-preview", "2023-04-01", "2023-04-01-preview", "2023-06-01-preview",
    "2023-08-01-preview", "2023-10-01", "2024-01-01-preview", "2024-04-01", "2024-04-01-preview",
    "2024-07-01-preview", "2024-10-01", "2024-10-01-preview", "2025-01-01-preview", "2025-04-01",
    "2025-04-01-preview", "2025-06-01", "2025-07-01-preview", "2025-09-01", "2025-10-01-preview",
    "2025-12-01", "2026-01-15-preview", "2026-05-01-preview",
    "2021-10-01", "2022-06-01", "2024-05-01-preview",
)  # fmt: skip
NEWEST = max(version[:10] for version in API_VERSIONS)
LOCATIONS = frozenset({
    "asia", "asiapacific", "australia", "australiacentral", "australiacentral2", "australiaeast",
    "australiasoutheast", "austriaeast", "belgiumcentral", "brazil", "brazilsouth",
    "brazilsoutheast", "canada", "canadacentral", "canadaeast", "centralindia", "centralus",
    "centraluseuap", "chilecentral", "eastasia", "eastus", "eastus2", "eastus2euap", "europe",
    "francecentral", "francesouth", "germanynorth", "germanywestcentral", "global", "india",
    "indonesiacentral", "israelcentral", "italynorth", "japan", "japaneast", "japanwest",
    "jioindiacentral", "jioindiawest", "korea", "koreacentral", "koreasouth", "malaysiawest",
    "mexicocentral", "newzealandnorth", "northcentralus", "northeurope", "norway", "norwayeast",
    "norwaywest", "polandcentral", "qatarcentral", "southafricanorth", "southafricawest",
    "southcentralus", "southeastasia", "southindia", "spaincentral", "swedencentral",
    "swedensouth", "switzerlandnorth", "switzerlandwest", "uaecentral", "uaenorth", "uk", "uksouth",
    "ukwest", "unitedstates", "westcentralus", "westeurope", "westindia", "westus", "westus2",
    "westus3",
})  # fmt: skip


def check_version(path: str, version: str, today: date) -> None:
    """Refuse an API version that the provider of a path does not have.

    One that is newer than all that are known here is taken, unless it is still to come.
    """
    if not version:
        raise ArmError(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    match = re.fullmatch(r"(\d{4}-\d{2}-\d{2})(-[a-z]+)?", version)
    if match is None:
        raise ArmError(
            400,
            "InvalidApiVersionParameter",
            f"The api-version '{version}' is invalid: it is a date, 'yyyy-MM-dd', and '-preview' "
            "where it is one.",
        )
    provider = path.lower().rpartition("/providers/")[2].partition("/")[0]
    if provider != PROVIDER.lower() or version in API_VERSIONS:
        return
    if not NEWEST < match[1] <= today.isoformat():
        raise ArmError(
            400,
            "NoRegisteredProviderFound",
            f"No registered resource provider found for API version '{version}' of {PROVIDER}. "
            f"The supported api-versions are '{', '.join(API_VERSIONS)}'.",
        )


def check_location(location: object) -> None:
    """Refuse a region that Azure does not have; how it is spelled does not matter.

    >>> check_location("East US")
    """
    if location and str(location).replace(" ", "").lower() not in LOCATIONS:
        raise ArmError(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{location}' is not available for resource type of {PROVIDER}.",
        )
