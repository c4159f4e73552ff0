"""The login endpoints, as far as a service principal with a secret needs them."""

from __future__ import annotations

import hmac

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, LOGIN_HOSTS, Account
from azureml_emulator.errors import EmulatorError
from azureml_emulator.identity import tokens
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["Login", "LoginError"]


class LoginError(EmulatorError):
    """A refusal by the login endpoint, in OAuth's shape."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status, self.error, self.description = status, error, description

    def response(self) -> Response:
        """Return the answer, JSON."""
        body = {"error": self.error, "error_description": self.description}
        return json_response(body, self.status)


class Login:
    """Issues tokens to the account's one client."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        """Return the routes."""
        table = [Route("GET", ARM_HOST, "/metadata/endpoints", self._cloud)]
        for host in LOGIN_HOSTS:
            table += [
                Route("GET", host, "/common/discovery/instance", self._instance),
                Route("GET", host, "/{tenant}/v2.0/.well-known/openid-configuration", self._openid),
                Route("POST", host, "/{tenant}/oauth2/v2.0/token", self._token),
            ]
        return table

    def _openid(self, call: Call) -> Response:
        self._check_tenant(call)
        base = f"https://{LOGIN_HOSTS[0]}/{call['tenant']}"
        return json_response(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    def _instance(self, call: Call) -> Response:
        openid = f"/{self._account.tenant_id}/v2.0/.well-known/openid-configuration"
        return json_response(
            {
                "api-version": "1.1",
                "tenant_discovery_endpoint": f"https://{LOGIN_HOSTS[0]}{openid}",
                "metadata": [
                    {
                        "preferred_network": LOGIN_HOSTS[0],
                        "preferred_cache": LOGIN_HOSTS[1],
                        "aliases": list(LOGIN_HOSTS),
                    }
                ],
            }
        )

    def _token(self, call: Call) -> Response:
        self._check_tenant(call)
        form = call.request.form
        if form.get("grant_type") != "client_credentials":
            raise LoginError(
                400,
                "unsupported_grant_type",
                f"AADSTS70003: the emulator knows a client's secret only, not the grant type "
                f"'{form.get('grant_type')}'.",
            )
        if form.get("client_id") != self._account.client_id:
            raise LoginError(
                401,
                "unauthorized_client",
                f"AADSTS700016: Application with identifier '{form.get('client_id')}' was not "
                "found in the directory.",
            )
        secret = form.get("client_secret", "")
        if not hmac.compare_digest(secret.encode(), self._account.client_secret.encode()):
            raise LoginError(
                401, "invalid_client", "AADSTS7000215: Invalid client secret provided."
            )
        return json_response(
            {
                "token_type": "Bearer",
                "expires_in": tokens.LIFETIME_SECONDS,
                "ext_expires_in": tokens.LIFETIME_SECONDS,
                "access_token": tokens.issue(self._account, form.get("scope", "")),
            }
        )

    def _check_tenant(self, call: Call) -> None:
        if call["tenant"].lower() != self._account.tenant_id:
            raise LoginError(
                400, "invalid_tenant", f"AADSTS90002: Tenant '{call['tenant']}' not found."
            )

    def _cloud(self, call: Call) -> Response:
        return json_response(
            [
                {
                    "name": "AzureCloud",
                    "portal": "https://portal.azure.com",
                    "resourceManager": f"https://{ARM_HOST}/",
                    "authentication": {
                        "loginEndpoint": f"https://{LOGIN_HOSTS[0]}/",
                        "audiences": [f"https://{ARM_HOST}/"],
                        "tenant": "common",
                        "identityProvider": "AAD",
                    },
                    "suffixes": {"storage": "core.windows.net", "acrLoginServer": "azurecr.io"},
                }
            ]
        )
