/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The two gates: a broker in this process, and a broker at the other end of a
 * control channel (a kernel SOCK_SEQPACKET socket).
 */
#ifndef AFU_GATE_GATE_H
#define AFU_GATE_GATE_H

#include "broker/message.h"

#include <stddef.h>

/* A control address as AFUNIX_DOMAIN holds it: "@NAME[:SECRET]" or "/PATH". */
struct afu_address {
	struct sockaddr_un un;
	uint32_t length;
	uint8_t secret[64];
	uint32_t secret_length;
};
/* 0, or -EINVAL: not an address. */
int afu_address_parse(const char *text, struct afu_address *to);

/* The embedded broker; one per process.  NULL: no memory. */
struct afu_gate *afu_gate_direct(void);

/* Connects when first called, and again in a forked child. */
struct afu_gate *afu_gate_control(const struct afu_address *address);

/*
 * Makes this process a client: shows the status page, learns its number, maps the
 * book if there is a broker to outlive.  0 or negative errno.
 */
int afu_gate_attach(struct afu_gate *gate, const struct afu_address *address, int remote);

#endif
