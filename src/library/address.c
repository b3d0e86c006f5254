/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/address.h"

#include "base/cause.h"
#include "base/copy.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

int afu_name_read(struct afu_name *to, const struct sockaddr *addr, socklen_t len)
{
	unsigned char bytes[sizeof(struct sockaddr_storage)];

	memset(to, 0, sizeof *to);
	if (len > sizeof bytes)
		return afu_refuse(AFU_CAUSE_ADDRESS_LENGTH);
	if (len && afu_copy(bytes, addr, len))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	memcpy(&to->un, bytes, len < sizeof to->un ? len : sizeof to->un);
	return 0;
}

int afu_name_check(struct afu_name *name, socklen_t len)
{
	if (len <= PATH_AT || len > sizeof name->un || name->un.sun_family != AF_UNIX)
		return afu_refuse(AFU_CAUSE_ADDRESS_FORM);
	name->abstract = name->un.sun_path[0] == 0;
	name->end = 0;
	if (name->abstract)
		name->length = len;
	else
		name->length = (uint32_t)(PATH_AT + strnlen(name->un.sun_path, len - PATH_AT) + 1);
	return 0;
}

int afu_name_write(const uint8_t *address, uint32_t n, struct sockaddr *addr, socklen_t *len)
{
	static const sa_family_t unnamed = AF_UNIX;
	socklen_t room;

	if (!n) {
		address = (const uint8_t *)&unnamed;
		n = sizeof unnamed;
	}
	if (afu_copy(&room, len, sizeof room))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if ((int)room < 0)
		return afu_refuse(AFU_CAUSE_ADDRESS_LENGTH);
	if (room > n)
		room = n;
	if ((room && afu_copy(addr, address, room)) || afu_copy(len, &n, sizeof n))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	return 0;
}
