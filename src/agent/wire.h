/*
 * The agent protocol: what `ember`, ember-keeper and ember-guest say to each other.
 * This header is its specification.
 *
 * One byte stream each way (the virtio-serial port `org.ember.agent`, or the keeper's unix socket)
 * carries frames of many streams. One OPEN is one request to one service; the side that sends OPEN
 * is called the host, the side that serves the guest. On the keeper's socket the keeper plays the
 * guest: it relays guest services (ids mapped, all else untouched, so credit works end to end) and
 * serves the host services itself. Integers are little-endian.
 *
 *   frame := u32 payload length | u8 type | u8 channel | u16 zero | u32 stream | payload
 *
 *   type    from   stream  payload             meaning
 *   HELLO   both   0       see below           begin a session
 *   OPEN    host   new id  TLV list            start a request; the first tag is SERVICE
 *   INFO    guest  id      TLV list            about the answer, before its DATA; at most one
 *   DATA    both   id      1.. bytes           channel 0: stdin, stdout or content; 1: stderr
 *   WINDOW  both   id      u32 bytes           the receiver of DATA grants more credit
 *   EOF     host   id      none                no more DATA from the host
 *   CLOSE   guest  id      TLV list            the result; the stream is over
 *   RESET   both   id      none                abort; the stream is over
 *   PING    both   0       0..WIRE_PING_MAX    answered by PONG
 *   PONG    both   0       the same bytes
 *
 * Streams. The host numbers them; an id is not zero and is used again only after its stream is
 * over. Every OPEN is answered by exactly one CLOSE or one RESET from the guest, also when the host
 * sent RESET first: the guest then kills what it had started and answers RESET. Frames for a stream
 * that the receiver does not know (any more) are ignored: they crossed with its end. With
 * WIRE_STREAMS_MAX streams open, one more is answered by CLOSE with WIRE_ERR_BUSY.
 *
 * Credit. Per stream and direction, channels together: WIRE_WINDOW bytes to begin with, more by
 * WINDOW, never more than WIRE_WINDOW_MAX outstanding. Sending beyond it gets the stream RESET.
 * INFO and CLOSE need no credit, and CLOSE comes only after all DATA, so who waits for a result
 * must keep granting credit (or RESET). The host must always read; the guest may stop reading while
 * its output is blocked: by this rule the two never wait for each other.
 *
 * HELLO := 16 bytes magic | u32 version | u32 step | u64 session. The steps:
 *   ANNOUNCE  guest   "No session, say hello": when it opens the port, when it sees a host arrive,
 *                     and after garbage. So the host learns of the guest without polling.
 *                     The session is 0, and all streams are over.
 *   REQUEST   host    On connecting and on every ANNOUNCE: a new random session. The guest drops
 *                     all streams of the former one...
 *   ACCEPT    guest   ...and echoes the session. Only now may the host OPEN. An ACCEPT of another
 *                     session is ignored.
 * On the keeper's socket there is no ANNOUNCE, and the client need not wait for ACCEPT: that
 * transport begins clean. A side of another version still says HELLO, so that the other can tell.
 *
 * Resync. A receiver begins by scanning for a HELLO (WIRE_HELLO_PREFIX_SIZE constant bytes),
 * skipping all else, and returns to scanning after a malformed frame: unknown type, length, channel
 * or stream id that the type may not have, nonzero reserved bytes. The guest then drops all streams
 * and ANNOUNCEs. Where a former host died in mid-frame (a keeper was killed) the guest takes the
 * new host's HELLO for payload: if ACCEPT does not come within WIRE_HELLO_PATIENCE_MS, the host
 * sends WIRE_FLUSH_SIZE zero bytes, which complete any frame and then are malformed, and a new
 * REQUEST.
 *
 * TLV := u8 tag | u32 length | value. Values are bytes, u8, u32, u64, or text: any bytes but NUL,
 * *with* a final NUL, which the length counts, so that they can be used in place. Unknown tags are
 * skipped; a known tag of the wrong size makes a bad request.
 *
 *   service       OPEN (+ one or more, * any, ? optional)   answer (or CLOSE: ERROR MESSAGE)
 *   ping                                                    CLOSE: VERSION UPTIME_MS
 *   exec          ARG+ ENV* CWD? USER? FLAGS?               INFO: PID; DATA; CLOSE: STATUS | SIGNAL
 *   put-file      PATH MODE NAME? SIZE? UID? GID?; DATA EOF CLOSE: SIZE
 *   get-file      PATH                                      INFO: SIZE MODE UID GID MTIME; DATA;
 *                                                           CLOSE: SIZE
 *   poweroff                                                CLOSE, then the guest goes down
 *   reboot                                                  CLOSE, then the guest goes down
 *   resize-fs     PATH?                                     CLOSE: SIZE
 *   trim          PATH?                                     CLOSE: SIZE
 *   set-identity  HOSTNAME? ID?                             CLOSE
 *   freeze        TIMEOUT_MS?; EOF                          INFO; CLOSE: FLAGS HELD_US
 *
 * exec: ENV is `KEY=value`; PATH, HOME, USER and LOGNAME get defaults where absent. ARG 0 is looked
 *   up in that PATH unless it has a slash. USER is `user[:group]`, names of the guest's /etc/passwd
 *   and /etc/group or numbers; root by default. CWD must exist; by default it is the user's home,
 *   else /. No shell is involved. Failures to start have kinds: NOT_FOUND (the shell's 127),
 *   NOT_EXECUTABLE and DENIED (126), BAD_USER, BAD_CWD. After the program's end its output is
 *   delivered to the last byte, but children it left behind with the pipes open are not waited
 *   for. DATA for a program that has closed its stdin is dropped, and credited. On RESET its
 *   process group gets SIGHUP, and SIGKILL after WIRE_KILL_DELAY_MS.
 * put-file: PATH is absolute. If it is a directory, the file becomes PATH/NAME. The content is
 *   written aside and renamed: readers see the old file or the new one. MODE is its permissions. A
 *   replaced file keeps its owner, a new one is root's; UID and GID override both. Fewer or more
 *   bytes than SIZE, or a RESET: nothing changes.
 * get-file: regular files only (IS_DIRECTORY, NOT_REGULAR). A file that grows meanwhile is cut at
 *   the SIZE of INFO, one that shrinks gives a smaller SIZE in CLOSE. Where INFO says 0 the file is
 *   read to its end all the same: those of /proc claim to be empty.
 * resize-fs: grow the ext4 filesystem mounted on PATH (default /) to its device. SIZE: the result.
 * trim: tell the disk which blocks the filesystem mounted on PATH (default /) does not use. SIZE: how
 *   many bytes of them there were that it had not been told of.
 * set-identity: ID is the VM's UUID; the machine id is made from it.
 * freeze: INFO says that all filesystems on disks are synced and frozen. They are until EOF or the end of the stream, so
 *   that they thaw with whatever becomes of the host, and for at most TIMEOUT_MS. CLOSE says for how long they were, and
 *   (WIRE_HOLD_EXPIRED) whether the time was over first. What else would write to them waits meanwhile.
 *
 * This file is shared by three programs. It needs only libc and allocates nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION	1
#define WIRE_PORT_NAME	"org.ember.agent"
#define WIRE_MAGIC	"\211ember-agent\r\n\032\n" /* 16 bytes and C's NUL */
#define WIRE_MAGIC_SIZE 16

#define WIRE_HEADER_SIZE       12
#define WIRE_PAYLOAD_MAX       65536
#define WIRE_FRAME_MAX	       (WIRE_HEADER_SIZE + WIRE_PAYLOAD_MAX)
#define WIRE_HELLO_SIZE	       32 /* payload */
#define WIRE_HELLO_PREFIX_SIZE (WIRE_HEADER_SIZE + WIRE_MAGIC_SIZE)
#define WIRE_PING_MAX	       64
#define WIRE_TLV_HEADER_SIZE   5

#define WIRE_STREAMS_MAX       1024
#define WIRE_WINDOW	       65536
#define WIRE_WINDOW_MAX	       (1024 * 1024)
#define WIRE_HELLO_PATIENCE_MS 500
#define WIRE_FLUSH_SIZE	       WIRE_FRAME_MAX
#define WIRE_KILL_DELAY_MS     2000

typedef enum WireType {
	WIRE_HELLO = 1,
	WIRE_OPEN,
	WIRE_INFO,
	WIRE_DATA,
	WIRE_WINDOW_ADD,
	WIRE_EOF,
	WIRE_CLOSE,
	WIRE_RESET,
	WIRE_PING,
	WIRE_PONG,
} WireType;

typedef enum WireStep {
	WIRE_STEP_ANNOUNCE = 1,
	WIRE_STEP_REQUEST,
	WIRE_STEP_ACCEPT,
} WireStep;

/* DATA channels. */
enum { WIRE_CHANNEL_MAIN = 0, WIRE_CHANNEL_STDERR = 1 };

typedef enum WireService {
	/* Served by the guest. */
	WIRE_SERVICE_PING = 1,
	WIRE_SERVICE_EXEC,
	WIRE_SERVICE_PUT_FILE,
	WIRE_SERVICE_GET_FILE,
	WIRE_SERVICE_POWEROFF,
	WIRE_SERVICE_REBOOT,
	WIRE_SERVICE_RESIZE_FS,
	WIRE_SERVICE_SET_IDENTITY,
	WIRE_SERVICE_TRIM,
	WIRE_SERVICE_FREEZE,

	/* Served by the keeper on its own socket; src/keeper/ says what they take and answer. */
	WIRE_SERVICE_STATUS = 128,
	WIRE_SERVICE_STOP,
	WIRE_SERVICE_KILL,
	WIRE_SERVICE_PAUSE,
	WIRE_SERVICE_RESUME,
	WIRE_SERVICE_WAIT_READY,
	WIRE_SERVICE_DISK_RESIZE,
	WIRE_SERVICE_DISK_SWITCH,
	WIRE_SERVICE_HOLD,
} WireService;

/* The first of the services that a keeper answers itself. */
#define WIRE_SERVICE_HOST_FIRST 128

typedef enum WireTag {
	/* Requests. */
	WIRE_TAG_SERVICE = 1, /* u8 */
	WIRE_TAG_ARG,	      /* text */
	WIRE_TAG_ENV,	      /* text */
	WIRE_TAG_CWD,	      /* text */
	WIRE_TAG_USER,	      /* text */
	WIRE_TAG_FLAGS,	      /* u32 */
	WIRE_TAG_PATH,	      /* text */
	WIRE_TAG_NAME,	      /* text */
	WIRE_TAG_MODE,	      /* u32: permission bits */
	WIRE_TAG_SIZE,	      /* u64: bytes */
	WIRE_TAG_UID,	      /* u32 */
	WIRE_TAG_GID,	      /* u32 */
	WIRE_TAG_MTIME,	      /* u64: seconds since 1970 */
	WIRE_TAG_HOSTNAME,    /* text */
	WIRE_TAG_ID,	      /* text: UUID */
	WIRE_TAG_TIMEOUT_MS,  /* u32 */

	/* Answers. */
	WIRE_TAG_STATUS = 64, /* u32: exit status, 0..255 */
	WIRE_TAG_SIGNAL,      /* u32: killed by it */
	WIRE_TAG_ERROR,	      /* u8: WireError; it did not happen */
	WIRE_TAG_MESSAGE,     /* text: one lower-case sentence for the user */
	WIRE_TAG_PID,	      /* u32 */
	WIRE_TAG_VERSION,     /* text: of the program that answers */
	WIRE_TAG_UPTIME_MS,   /* u64 */
	WIRE_TAG_STATE,	      /* text: host services only */
	WIRE_TAG_SESSION,     /* u64: host services only */
	WIRE_TAG_STARTED,     /* u64: start time of PID; host services only */
	WIRE_TAG_HELD_US,     /* u64: how long it stood still */
} WireTag;

/* FLAGS of exec. */
#define WIRE_EXEC_NO_STDIN 1U /* stdin is /dev/null; the host sends neither DATA nor EOF */
/* FLAGS of the CLOSE of freeze and hold. */
#define WIRE_HOLD_EXPIRED 1U
/* FLAGS of status. */
#define WIRE_STATUS_AGENT_READY 1U
#define WIRE_STATUS_DISK_RESIZE 2U /* the keeper and its hypervisor know disk-resize */
#define WIRE_STATUS_DISK_SWITCH 4U /* and disk-switch */

typedef enum WireError {
	WIRE_ERR_FAILED = 1,	 /* anything else; MESSAGE says what */
	WIRE_ERR_BAD_REQUEST,	 /* a missing or senseless value in OPEN */
	WIRE_ERR_UNSUPPORTED,	 /* unknown service, or this guest cannot do it */
	WIRE_ERR_NOT_FOUND,	 /* no such program (127) or file */
	WIRE_ERR_NOT_EXECUTABLE, /* exec: found, but cannot be run (126) */
	WIRE_ERR_DENIED,
	WIRE_ERR_BAD_USER,
	WIRE_ERR_BAD_CWD,
	WIRE_ERR_IS_DIRECTORY,
	WIRE_ERR_NOT_REGULAR, /* a device, socket, pipe... */
	WIRE_ERR_NO_SPACE,
	WIRE_ERR_BUSY,	/* too many streams or processes */
	WIRE_ERR_STATE, /* host services: the VM is in a state that does not allow it */
	WIRE_ERR_TIMEOUT,
} WireError;

/* The word for an error in messages and JSON, such as "not_found"; "failed" for unknown values. */
const char *wire_error_name(unsigned error);

/*
 * One frame. `payload` is borrowed: from the parser, until it is called again, or from the caller
 * who packs it.
 */
typedef struct WireFrame {
	uint8_t type; /* WireType */
	uint8_t channel;
	uint32_t stream;
	uint32_t length; /* bytes of payload */
	const uint8_t *payload;
} WireFrame;

typedef struct WireHello {
	uint32_t version;
	uint32_t step; /* WireStep */
	uint64_t session;
} WireHello;

/* Little-endian access for headers and fixed payloads. */
uint32_t wire_get_u32(const uint8_t *from);
uint64_t wire_get_u64(const uint8_t *from);
void wire_set_u32(uint8_t *to, uint32_t value);
void wire_set_u64(uint8_t *to, uint64_t value);

/* Write only the header of `frame`, for senders that have the payload elsewhere: writev(2). */
void wire_pack_header(uint8_t to[WIRE_HEADER_SIZE], const WireFrame *frame);

/* Write the whole frame to `to`. Returns the bytes written, or 0 when `size` is too small. */
size_t wire_pack(uint8_t *to, size_t size, const WireFrame *frame);

/* Write a whole HELLO frame. Returns its size, always WIRE_HEADER_SIZE + WIRE_HELLO_SIZE. */
size_t wire_pack_hello(uint8_t to[WIRE_HEADER_SIZE + WIRE_HELLO_SIZE], const WireHello *hello);

/* The fields of a HELLO frame that came out of a parser (which has checked size and magic). */
void wire_unpack_hello(const WireFrame *frame, WireHello *out_hello);

/*
 * The parser: bytes in, frames out, in constant memory.
 *
 *	room = wire_parser_space(parser, &at);
 *	count = read(fd, at, room);
 *	wire_parser_fed(parser, count);
 *	while ((got = wire_parser_next(parser, &frame)) != WIRE_NEED_MORE)
 *		...     WIRE_GOT_FRAME: one frame; WIRE_MALFORMED: the session and its streams are
 *lost
 *
 * The room is never zero once wire_parser_next() has answered WIRE_NEED_MORE. One parser per
 * direction of a connection. It is large, but touches only the pages that it needs: keep it static
 * or on the heap.
 */
#define WIRE_PARSER_SIZE ((size_t)2 * WIRE_FRAME_MAX)

typedef struct WireParser {
	bool synced; /* a HELLO was seen and nothing malformed since */
	size_t begin, end;
	uint8_t bytes[WIRE_PARSER_SIZE];
} WireParser;

typedef enum WireGot {
	WIRE_NEED_MORE,
	WIRE_GOT_FRAME,
	WIRE_MALFORMED, /* said once; the parser is scanning for a HELLO again */
} WireGot;

/* Forget everything and scan for a HELLO: for a new parser and after a reconnect. */
void wire_parser_init(WireParser *parser);

/* Where the next bytes go. Invalidates the last frame's payload. */
size_t wire_parser_space(WireParser *parser, uint8_t **out_at);
void wire_parser_fed(WireParser *parser, size_t count);
WireGot wire_parser_next(WireParser *parser, WireFrame *out_frame);

/* Walk a TLV list. `wire_tlv_next`: 1 a value, 0 the end, -1 malformed. */
typedef struct WireReader {
	const uint8_t *at, *end;
} WireReader;

typedef struct WireTlv {
	uint8_t tag; /* WireTag */
	uint32_t length;
	const uint8_t *value;
} WireTlv;

WireReader wire_reader(const WireFrame *frame);
int wire_tlv_next(WireReader *reader, WireTlv *out_tlv);

/* Typed values: 0, or -1 when the size (or, for text, a NUL in the wrong place) is malformed. */
int wire_tlv_u8(const WireTlv *tlv, uint8_t *out_value);
int wire_tlv_u32(const WireTlv *tlv, uint32_t *out_value);
int wire_tlv_u64(const WireTlv *tlv, uint64_t *out_value);
int wire_tlv_text(const WireTlv *tlv, const char **out_text); /* borrowed from the payload */

/*
 * Build a frame whose payload is a TLV list, in the caller's buffer. Setters cannot fail: what does
 * not fit is remembered, and wire_writer_finish() then answers 0, otherwise the frame's size.
 *
 *	wire_writer_begin(&writer, buffer, sizeof(buffer), WIRE_OPEN, id);
 *	wire_put_u8(&writer, WIRE_TAG_SERVICE, WIRE_SERVICE_EXEC);
 *	wire_put_text(&writer, WIRE_TAG_ARG, "true");
 *	size = wire_writer_finish(&writer);
 */
typedef struct WireWriter {
	uint8_t *buffer;
	size_t size, used;
	bool overflow;
} WireWriter;

void wire_writer_begin(WireWriter *writer, uint8_t *buffer, size_t size, WireType type,
		       uint32_t stream);
void wire_put_bytes(WireWriter *writer, WireTag tag, const void *value, size_t length);
void wire_put_u8(WireWriter *writer, WireTag tag, uint8_t value);
void wire_put_u32(WireWriter *writer, WireTag tag, uint32_t value);
void wire_put_u64(WireWriter *writer, WireTag tag, uint64_t value);
void wire_put_text(WireWriter *writer, WireTag tag, const char *text);
size_t wire_writer_finish(WireWriter *writer);
