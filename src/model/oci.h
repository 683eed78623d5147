/*
 * Words of the OCI image specification that more than one part of us uses.
 */
#pragma once

/* image-spec, annotations.md: the tag of an entry in a layout's index.json. */
#define OCI_REF_NAME "org.opencontainers.image.ref.name"

/* What `uname -m` calls a machine, in the words of GOARCH, which OCI uses: "x86_64" is "amd64". Machines that are not known
 * keep their name. Borrowed. */
const char *oci_arch_of_machine(const char *machine);
/* The machine of such a word, of those that VMs can be made for; others keep their name. Borrowed. */
const char *oci_machine_of_arch(const char *arch);
