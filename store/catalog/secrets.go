package catalog

import (
	"github.com/google/uuid"

	"xvault/archive/seal"
)

// CredentialAD is what a credential's ciphertext is bound to.
func CredentialAD(tenant, credential uuid.UUID) seal.AD {
	return seal.AD{Tenant: tenant, Table: "credentials", Row: credential, Column: "ciphertext"}
}

// TenantKeyAD is what a tenant key's private half is bound to.
func TenantKeyAD(tenant, key uuid.UUID) seal.AD {
	return seal.AD{Tenant: tenant, Table: "tenant_keys", Row: key, Column: "encrypted_private_key"}
}
