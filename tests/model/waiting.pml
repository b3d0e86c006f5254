/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * WAIT, WAKE and KICK of src/channel/channel.c on one side's words, and the watchers'
 * asleep word and bell of src/channel/waiter.c.
 *
 * Memory is sequentially consistent but for what a waker publishes: that lies in the
 * waker's store buffer until its fence, its next read-modify-write, or any moment
 * before.  There is as much to take as all waiters together want, so in every end
 * state each of them has got its share; one that sleeps there is a lost wake-up, and
 * pan reports an invalid end state.
 *
 *   two sleepers on IN, one on OUT; two wakers, of which the second also wakes OUT.
 *   KILLED   the first waker may be killed between any two steps after its publish
 *   KICK     ... and the broker kicks afterwards
 *   NEXT     ... and the second waker comes after that death
 *   WATCHED  the second sleeper is a watcher: a thread in poll(), an epoll instance;
 *            nobody sleeps on OUT, lest there be too many states
 *   ONE_SHOT the watcher alone takes both, and wakers clear its bit (AFU_WATCH_OUT)
 * Variants that must fail:
 *   NO_FENCE, CLEAR_FIRST, PLAIN_CLEAR, NO_VERSION, OR_FIRST
 *   EARLY    a watcher that enters before it is marked asleep
 *   LAZY     a watcher that does not announce again while its bit is still set
 */

#define IN 1
#define OUT 2
#define WATCH 4

#if !defined(WATCHED)
#define SENDER
#endif

byte version, bits; /* the two halves of want: always read and written together */
byte seq;
bool item[3];       /* 0, 1: something to receive; 2: room to send */
bool buffered[3];   /* published, but still in the store buffer of its waker */
bool sleeping[3];   /* in the futex's queue */
bool asleep, bell;
/*
 * Only whether two values are equal counts, so both counts stand still while nobody
 * remembers one: the same states in fewer guises.
 */
byte versions, seqs; /* how many remember one */
bool over;          /* the first waker is done or dead */
bool dead;

#ifdef ONE_SHOT
#define CLEARED(b) ((b) | ((b) << 2))
#else
#define CLEARED(b) (b)
#endif

#define READY(b) ((b == IN && (item[0] || item[1])) || (b == OUT && item[2]))

inline take(b)
{
	if
	:: b == OUT -> item[2] = false
	:: b == IN && item[0] -> item[0] = false
	:: b == IN && !item[0] -> item[1] = false
	fi
}

inline drain(w)
{
	if
	:: buffered[w] -> item[w] = true; buffered[w] = false
	:: else
	fi
}

inline wake_all()
{
	sleeping[0] = false; sleeping[1] = false; sleeping[2] = false
}

inline new_version()
{
	d_step {
		if
		:: versions > 0 -> version++
		:: else
		fi
	}
}

inline forget_version()
{
	versions--; v = 0; b = 0; gone = 0;
	if
	:: versions == 0 -> version = 0
	:: else
	fi
}

inline new_seq()
{
	if
	:: seqs > 0 -> seq++
	:: else
	fi
}

inline forget_seq()
{
	seqs--; s = 0;
	if
	:: seqs == 0 -> seq = 0
	:: else
	fi
}

/* The store buffers empty themselves at any moment. */
active proctype memory()
{
end:	do
	:: d_step { buffered[0] -> drain(0) }
	:: d_step { buffered[1] -> drain(1) }
	:: d_step { buffered[2] -> drain(2) }
	od
}

inline announce(b)
{
#ifdef OR_FIRST
	bits = bits | b;
	new_version();
#else
#ifndef NO_VERSION
	new_version();
#endif
	bits = bits | b;
#endif
}

/* The look before the sequence is read decides nothing, so the two are one step. */
proctype sleeper(byte me, bit_)
{
	byte s;

	do
	:: d_step { READY(bit_) -> take(bit_) }; break
	:: d_step { !READY(bit_) -> s = seq; seqs++ };
		announce(bit_);
		if
		:: d_step { READY(bit_) -> forget_seq() }
		:: d_step { !READY(bit_) -> skip };
			d_step { sleeping[me] = (seq == s); forget_seq() };
			!sleeping[me]
		fi
	od;
end:	false
}

proctype watcher(byte need)
{
	do
	:: need == 0 -> break
	:: need > 0 ->
		if
		:: d_step { READY(IN) -> take(IN); need-- }
		:: d_step { !READY(IN) -> skip };
#ifndef EARLY
			asleep = true;
#endif
#ifdef LAZY
			if
			:: (bits & WATCH) != 0
			:: (bits & WATCH) == 0 -> announce(WATCH)
			fi;
#else
			announce(WATCH);
#endif
#ifdef EARLY
			asleep = true;
#endif
			if
			:: READY(IN)
			:: d_step { !READY(IN) -> skip };
				d_step { bell -> bell = false }
			fi;
			asleep = false
		fi
	od;
end:	false
}

/* One step of a waker, instead of which it may be killed. */
#ifdef KILLED
#define STEP if :: mortal -> goto killed ::
#else
#define STEP if ::
#endif

#ifdef PLAIN_CLEAR
#define CLEAR bits = bits & ~gone
#else
#define CLEAR if :: version == v && bits == b -> bits = bits & ~gone :: else fi
#endif

/* WAKE(X, cond) after publishing item w.  Read-modify-writes empty the store buffer. */
inline wake(w, cond)
{
	buffered[w] = true;
#ifndef NO_FENCE
	STEP d_step { drain(w) } fi;
#endif
	STEP d_step { v = version; b = bits; versions++; gone = b & CLEARED(cond) } fi;
	if
	:: d_step { (b & (cond | (cond << 2))) == 0 -> forget_version() }
	:: (b & (cond | (cond << 2))) != 0 ->
#ifdef CLEAR_FIRST
		STEP d_step { drain(w); CLEAR } fi;
#endif
		if
		:: (b & cond) != 0 ->
			STEP d_step { drain(w); new_seq() } fi;
			STEP d_step { wake_all() } fi
		:: (b & cond) == 0
		fi;
		if
		:: (b & WATCH & (cond << 2)) != 0 ->
			if
			:: asleep -> STEP bell = true fi
			:: !asleep
			fi
		:: (b & WATCH & (cond << 2)) == 0
		fi;
#ifndef CLEAR_FIRST
		STEP d_step { drain(w); CLEAR; forget_version() } fi
#else
		d_step { forget_version() }
#endif
	fi
}

proctype first(bool mortal)
{
	byte v, b, gone;

	wake(0, IN);
	over = true;
	goto end;
killed:	skip; /* what it has stored is seen before its death is */
	d_step {
		drain(0);
		dead = true;
		over = true;
		if
		:: v + b + gone > 0 -> forget_version()
		:: else
		fi
	};
end:	false
}

proctype second(bool mortal)
{
	byte v, b, gone;

#ifdef NEXT
	over;
#endif
	wake(1, IN);
#ifdef SENDER
	wake(2, OUT);
#endif
	goto end;
killed:	assert(false);
end:	false
}

#ifdef KICK
proctype broker()
{
	if
	:: dead ->
		d_step { new_seq() };
		d_step { wake_all() };
		if
		:: asleep -> bell = true
		:: !asleep
		fi
	:: over && !dead
	fi;
end:	false
}
#endif

init
{
	atomic {
#ifdef ONE_SHOT
		run watcher(2);
#else
		run sleeper(0, IN);
#ifdef WATCHED
		run watcher(1);
#else
		run sleeper(1, IN);
#endif
#endif
#ifdef SENDER
		run sleeper(2, OUT);
#endif
		run first(true);
		run second(false);
#ifdef KICK
		run broker()
#endif
	};
end:	false
}
