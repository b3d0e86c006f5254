/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A listener becomes one of the kernel's.  Whoever wants that makes the kernel socket in its own process,
 * with the name, so that permissions and credentials are the kernel's business; and who connects to the
 * name from now on is led there.  Those who wait are accepted first.
 *
 * Others that are not connected stay: they would be cut off from the names in the domain.
 */
#include "broker/state.h"

#include "base/memory.h"

#include <string.h>
#include <sys/socket.h>

enum afu_cause afu_moving_listener(struct call *c)
{
	struct bsock *s = c->socket;

	if (s->queue || s->line) {
		c->reply->arg[0] = AFU_MOVE_LATER;
		return AFU_CAUSE_NONE;
	}
	if (!c->n) {
		c->reply->arg[0] = AFU_MOVE_LISTENER;
		c->reply->arg[1] = s->backlog;
		c->reply->arg[2] = s->inode.inode;
		c->reply->socket = s->inode.device;
		c->reply->length = s->name.length;
		memcpy(c->reply->data, s->name.address, s->name.length);
		return AFU_CAUSE_NONE;
	}
	if (!afu_outside_alike(s, c->fds[0]) || afu_outside_option(c->fds[0], SO_ACCEPTCONN) != 1)
		return AFU_CAUSE_REQUEST_FORM;
	s->kernel = 1 + (afu_hide ? afu_hide(c->fds[0]) : c->fds[0]);
	c->fds[0] = -1;
	/* the exposed one is this one, or is not needed any more: either way it is not the domain's to shut
	 */
	afu_outside_moved(c);
	s->state = AFU_MOVED;
	afu_store_state(s);
	afu_connection_kick(s);
	c->reply->arg[0] = AFU_MOVE_DONE;
	return AFU_CAUSE_NONE;
}
