/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/ancillary.h"

#include "base/cause.h"
#include "base/copy.h"
#include "library/address.h"
#include "library/domain.h"
#include "library/flows.h"
#include "library/known.h"
#include "library/view.h"

#include <string.h>

int afu_outgoing_parse(struct afu_outgoing *out)
{
	struct cmsghdr c;
	size_t at = 0;

	while (out->length - at >= sizeof c) {
		size_t left = out->length - at;

		memcpy(&c, out->control + at, sizeof c);
		if (c.cmsg_len < sizeof c || c.cmsg_len > left)
			return afu_refuse(AFU_CAUSE_ANCILLARY_FORM);
		if (c.cmsg_level == SOL_SOCKET && c.cmsg_type == SCM_CREDENTIALS)
			return afu_refuse(c.cmsg_len == CMSG_LEN(sizeof(struct ucred))
						  ? AFU_CAUSE_ANCILLARY_NOT_YET
						  : AFU_CAUSE_ANCILLARY_FORM);
		if (c.cmsg_level == SOL_SOCKET && c.cmsg_type != SCM_RIGHTS)
			return afu_refuse(AFU_CAUSE_ANCILLARY_FORM);
		if (c.cmsg_level == SOL_SOCKET && c.cmsg_len >= CMSG_LEN(sizeof(int)))
			return afu_refuse(AFU_CAUSE_ANCILLARY_NOT_YET);
		if (CMSG_ALIGN(c.cmsg_len) >= left)
			break;
		at += CMSG_ALIGN(c.cmsg_len);
	}
	return 0;
}

int afu_incoming_name(struct afu_incoming *in, struct sockaddr *addr, socklen_t *len)
{
	static const socklen_t none;
	struct afu_sock *s = in->s;
	struct afu_flow *flow = NULL;
	uint8_t name[128];
	uint32_t length = 0;
	socklen_t room;

	if (s->type == SOCK_DGRAM)
		flow = in->m.spoke ? afu_flows_find(afu_sock_flows(s), in->m.flow) : NULL;
	if (in->m.spoke && (flow || s->type != SOCK_DGRAM) && afu_known_name(s, flow, name, &length) < 0)
		length = 0;
	if (!length) {
		/* the buffer is not touched, but the length is looked at */
		if (afu_copy(&room, len, sizeof room))
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
		if ((int)room < 0)
			return afu_refuse(AFU_CAUSE_ADDRESS_LENGTH);
		return afu_copy(len, &none, sizeof none) ? afu_refuse(AFU_CAUSE_BAD_POINTER) : 0;
	}
	return afu_name_write(name, length, addr, len);
}

void afu_incoming_control(struct afu_incoming *in, ssize_t got)
{
	in->msg->msg_controllen = 0;
	in->msg->msg_flags = in->m.msg_flags | (in->m.flags & MSG_CMSG_CLOEXEC);
}

void afu_incoming_end(struct afu_incoming *in)
{
	if (in->s)
		afu_view_put(in->s);
	in->s = NULL;
}
