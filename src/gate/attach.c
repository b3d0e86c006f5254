/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "gate/gate.h"

#include "base/cause.h"
#include "base/memory.h"
#include "base/sys.h"
#include "channel/seal.h"
#include "channel/waiter.h"

#include <string.h>
#include <sys/socket.h>

int afu_address_parse(const char *text, struct afu_address *to)
{
	const char *colon = strchr(text, ':');
	size_t n = strlen(text);

	memset(to, 0, sizeof *to);
	to->un.sun_family = AF_UNIX;
	if (text[0] == '/') {
		if (n >= sizeof to->un.sun_path)
			return -EINVAL;
		memcpy(to->un.sun_path, text, n);
		to->length = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
		return 0;
	}
	if (text[0] != '@')
		return -EINVAL;
	if (colon) {
		to->secret_length = (uint32_t)strlen(colon + 1);
		if (to->secret_length > sizeof to->secret)
			return -EINVAL;
		memcpy(to->secret, colon + 1, to->secret_length);
		n = (size_t)(colon - text);
	}
	if (n < 2 || n > sizeof to->un.sun_path)
		return -EINVAL;
	memcpy(to->un.sun_path + 1, text + 1, n - 1);
	to->length = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + n);
	return 0;
}

int afu_gate_attach(struct afu_gate *gate, const struct afu_address *address, int remote)
{
	struct afu_request req = { .op = AFU_OP_ATTACH, .arg = { AFU_PROTOCOL } };
	struct afu_reply reply;
	int page, got[AFU_MESSAGE_FDS], err;
	uint64_t key[2];
	unsigned int n = 0;
	void *book;

	err = afu_waiters_start(&page);
	if (err)
		return err;
	if (address) {
		memcpy(req.data, address->secret, address->secret_length);
		req.length = address->secret_length;
	}
	err = gate->call(gate, &req, &page, 1, &reply, got, &n);
	afu_close_hidden(page);
	if (err)
		return err;
	if (reply.cause || n != 1) {
		while (n)
			afu_sys_close(got[--n]);
		return -EPROTO;
	}
	if (remote) {
		err = afu_memory_map(got[0], sizeof(struct afu_book), 0, &book);
		if (!err) {
			afu_seals = ((const struct afu_book *)book)->seal;
			afu_alive = &((const struct afu_book *)book)->alive;
			afu_unheard = &((const struct afu_book *)book)->unheard;
			if (reply.length == sizeof key) {
				memcpy(key, reply.data, sizeof key);
				afu_seal_keyed(key);
			}
		}
	}
	memset(reply.data, 0, sizeof reply.data);
	__asm__ volatile("" : : "r"(reply.data) : "memory"); /* a child would find it on the stack */
	afu_sys_close(got[0]);
	if (!err)
		afu_waiters_process((uint32_t)reply.arg[0]);
	return err;
}
