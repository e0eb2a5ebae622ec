#include "kernel/set_elements.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "kernel/netlink.h"

#define ATTEMPTS 8
#define MESSAGE_MAX_BYTES 768 /* of one element, with names and comment as long as they may be */
#define BATCH_BYTES (2 * (SET_ELEMENTS_PER_TRANSACTION + 1) * MESSAGE_MAX_BYTES)
#define SEND_BUFFER_BYTES (2 * BATCH_BYTES) /* the kernel counts its own overhead in it, too */

struct set_elements {
        char table[SET_ELEMENTS_NAME_SIZE];
        struct mnl_socket *socket;
        struct mnl_socket *questions; /* for find_present; NULL: not open */
        bool renews_in_place;         /* the kernel changes the timeout of an element that is there */
        uint32_t sequence;            /* the last one used */
        char batch[BATCH_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
        char answer[NETLINK_BUFFER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/* Since 6.12; what takes itself for older is treated as older, which is right for every kernel. */
static bool kernel_renews_in_place(void)
{
        struct utsname name;
        unsigned major, minor;

        if (uname(&name) == -1 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
                return false;
        return major > 6 || (major == 6 && minor >= 12);
}

static int open_socket(struct set_elements *self)
{
        int one = 1, bytes = SEND_BUFFER_BYTES, descriptor, r;

        r = netlink_open(NETLINK_NETFILTER, &self->socket);
        if (r < 0)
                return r;
        descriptor = mnl_socket_get_fd(self->socket);
        /* Refusals need not quote what they refuse. */
        if (mnl_socket_setsockopt(self->socket, NETLINK_CAP_ACK, &one, sizeof(one)) == -1)
                return -errno;
        return setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) == -1 ? -errno : 0;
}

int set_elements_new(const char *table, struct set_elements **ret)
{
        struct set_elements *self;
        int r;

        if (strlen(table) >= SET_ELEMENTS_NAME_SIZE)
                return -ENAMETOOLONG;
        self = calloc(1, sizeof(*self));
        if (self == NULL)
                return -ENOMEM;
        snprintf(self->table, sizeof(self->table), "%s", table);
        self->renews_in_place = kernel_renews_in_place();
        r = open_socket(self);
        if (r < 0) {
                set_elements_free(self);
                return r;
        }
        *ret = self;
        return 0;
}

static void close_questions(struct set_elements *self)
{
        if (self->questions != NULL)
                mnl_socket_close(self->questions);
        self->questions = NULL;
}

void set_elements_free(struct set_elements *self)
{
        if (self == NULL)
                return;
        close_questions(self);
        if (self->socket != NULL)
                mnl_socket_close(self->socket);
        free(self);
}

static uint32_t key_length(const struct net_address *address)
{
        return address->family == AF_INET ? 4 : 16;
}

/* The user data of an element is a list of type, length and value, as nft(8) reads it. */
static int set_comment(struct nftnl_set_elem *item, const char *comment)
{
        char text[SET_ELEMENTS_COMMENT_MAX + 1];
        struct nftnl_udata_buf *buffer = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
        bool ok;

        if (buffer == NULL)
                return -ENOMEM;
        snprintf(text, sizeof(text), "%s", comment);
        ok = nftnl_udata_put_strz(buffer, NFTNL_UDATA_SET_ELEM_COMMENT, text) &&
             nftnl_set_elem_set(item, NFTNL_SET_ELEM_USERDATA, nftnl_udata_buf_data(buffer),
                                nftnl_udata_buf_len(buffer)) == 0;
        nftnl_udata_buf_free(buffer);
        return ok ? 0 : -ENOMEM;
}

/* What a message of this type says of an element: to delete or to get one its key is enough. */
static int set_attributes(struct nftnl_set_elem *item, const struct set_element *element, uint16_t type)
{
        if (nftnl_set_elem_set(item, NFTNL_SET_ELEM_KEY, element->address.bytes, key_length(&element->address)) != 0)
                return -ENOMEM;
        if (type != NFT_MSG_NEWSETELEM)
                return 0;
        /* To an element that has the same timeout already, only the expiration is news. */
        nftnl_set_elem_set_u64(item, NFTNL_SET_ELEM_TIMEOUT, element->timeout_ms);
        nftnl_set_elem_set_u64(item, NFTNL_SET_ELEM_EXPIRATION, element->timeout_ms);
        return element->comment == NULL || element->comment[0] == '\0' ? 0 : set_comment(item, element->comment);
}

/* Writes one message about one element to buffer, which has room for MESSAGE_MAX_BYTES. Returns its length or -Exxx. */
static int format_message(const struct set_elements *self, const struct set_element *element, uint16_t type,
                          uint32_t sequence, char *buffer)
{
        struct nftnl_set_elem *item = nftnl_set_elem_alloc();
        struct nlmsghdr *header;
        struct nlattr *list;
        int r;

        if (item == NULL)
                return -ENOMEM;
        r = set_attributes(item, element, type);
        if (r < 0) {
                nftnl_set_elem_free(item);
                return r;
        }
        header = nftnl_nlmsg_build_hdr(buffer, type, NFPROTO_INET, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0,
                                       sequence);
        mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, self->table);
        mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, element->set);
        list = mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
        (void)nftnl_set_elem_nlmsg_build(header, item, 1);
        mnl_attr_nest_end(header, list);
        nftnl_set_elem_free(item);
        return (int)header->nlmsg_len;
}

/* Some elements that are to be one transaction. */
struct transaction {
        const struct set_element *elements;
        size_t count;
        bool removes;                               /* and otherwise puts */
        bool present[SET_ELEMENTS_PER_TRANSACTION]; /* to be deleted first */
        uint32_t sequence;                          /* of the message that begins it; then two for each element */
        size_t length;                              /* bytes */
        int error;                                  /* the kernel's first refusal */
        uint32_t refused;                           /* sequence of the message that it was about */
        bool answered;
};

static uint32_t first_sequence(const struct transaction *transaction, size_t index)
{
        return transaction->sequence + 1 + 2 * (uint32_t)index;
}

static uint32_t second_sequence(const struct transaction *transaction, size_t index)
{
        return transaction->sequence + 2 + 2 * (uint32_t)index;
}

static uint32_t last_sequence(const struct transaction *transaction)
{
        return second_sequence(transaction, transaction->count - 1);
}

static int append(struct set_elements *self, struct transaction *transaction, size_t index, uint16_t type,
                  uint32_t sequence)
{
        int length =
                format_message(self, &transaction->elements[index], type, sequence, self->batch + transaction->length);

        if (length > 0)
                transaction->length += (size_t)length;
        return length;
}

/*
 * The one or two messages about an element. To put it, its deletion is followed by its addition at once: the kernel puts the
 * new generation of the table into force in one step and then takes away and adds in this order. To remove it, it is added
 * first, which keeps the deletion from failing where it has just run out. Returns the length of the last one, or -Exxx.
 */
static int append_messages(struct set_elements *self, struct transaction *transaction, size_t index)
{
        uint16_t first = transaction->removes ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM;
        uint16_t second = transaction->removes ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM;
        int r = 0;

        if (transaction->removes || transaction->present[index])
                r = append(self, transaction, index, first, first_sequence(transaction, index));
        return r < 0 ? r : append(self, transaction, index, second, second_sequence(transaction, index));
}

static int format_transaction(struct set_elements *self, struct transaction *transaction)
{
        size_t last = 0;

        transaction->sequence = self->sequence + 1;
        self->sequence = last_sequence(transaction) + 1;
        transaction->length = nftnl_batch_begin(self->batch, transaction->sequence)->nlmsg_len;
        for (size_t i = 0; i < transaction->count; i++) {
                int r = append_messages(self, transaction, i);
                if (r < 0)
                        return r;
                last = transaction->length - (size_t)r;
        }
        /* The kernel answers once all has been done. Older ones than 6.10 take no notice of this flag on the end. */
        ((struct nlmsghdr *)(self->batch + last))->nlmsg_flags |= NLM_F_ACK;
        transaction->length += nftnl_batch_end(self->batch + transaction->length, self->sequence)->nlmsg_len;
        return 0;
}

/* A message of the answer. What is about an earlier transaction, whose answer was late, is passed over. */
static void read_answer(struct transaction *transaction, const struct nlmsghdr *header)
{
        const struct nlmsgerr *answer = mnl_nlmsg_get_payload(header);
        uint32_t offset = header->nlmsg_seq - transaction->sequence;

        if (header->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(header) < sizeof(*answer) ||
            offset > last_sequence(transaction) - transaction->sequence)
                return;
        if (answer->error != 0 && transaction->error == 0) {
                transaction->error = answer->error;
                transaction->refused = header->nlmsg_seq;
        }
        /* An error about the first message is one about the whole. */
        if (offset == 0 || header->nlmsg_seq == last_sequence(transaction))
                transaction->answered = true;
}

static int exchange(struct set_elements *self, struct transaction *transaction)
{
        transaction->error = 0;
        transaction->answered = false;
        if (mnl_socket_sendto(self->socket, self->batch, transaction->length) == -1)
                return -errno;
        while (!transaction->answered) {
                ssize_t received = mnl_socket_recvfrom(self->socket, self->answer, sizeof(self->answer));
                if (received == -1 && errno != EINTR)
                        return -errno;
                int left = received == -1 ? 0 : (int)received;
                for (const struct nlmsghdr *header = (const struct nlmsghdr *)self->answer; mnl_nlmsg_ok(header, left);
                     header = mnl_nlmsg_next(header, &left))
                        read_answer(transaction, header);
        }
        return transaction->error;
}

static int ask_whether_present(struct set_elements *self, const struct set_element *element, bool *ret)
{
        char bytes[MESSAGE_MAX_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = (struct nlmsghdr *)bytes;
        int r = format_message(self, element, NFT_MSG_GETSETELEM, 0, bytes);

        if (r < 0)
                return r;
        header->nlmsg_flags |= NLM_F_ACK;
        r = netlink_ask(self->questions, header, NULL, NULL);
        if (r == -EAGAIN)
                return r;
        *ret = r == 0; /* Otherwise it is not there, or something is worse, which the transaction will tell. */
        return 0;
}

/* Which elements are there, asked one by one: cheaper by far than to read a set of thousands. */
static int find_present(struct set_elements *self, struct transaction *transaction)
{
        int r = self->questions != NULL ? 0 : netlink_open(NETLINK_NETFILTER, &self->questions);

        for (size_t i = 0; i < transaction->count && r == 0; i++)
                r = ask_whether_present(self, &transaction->elements[i], &transaction->present[i]);
        if (r < 0)
                close_questions(self); /* The answer may come yet. */
        return r;
}

/* An element may end or be deleted by others between the look and the transaction. */
static bool deletion_was_late(const struct transaction *transaction)
{
        return !transaction->removes && transaction->error == -ENOENT &&
               transaction->refused != transaction->sequence && (transaction->refused - transaction->sequence) % 2 == 1;
}

static int run_transaction(struct set_elements *self, struct transaction *transaction)
{
        int r = 0;

        for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
                if (!transaction->removes && !self->renews_in_place)
                        r = find_present(self, transaction);
                if (r == 0)
                        r = format_transaction(self, transaction);
                if (r < 0)
                        return r;
                r = exchange(self, transaction);
                if (r == 0 || !deletion_was_late(transaction))
                        return r;
        }
        return r;
}

/* The element that the kernel refused, or count for none. */
static size_t refused_index(const struct transaction *transaction)
{
        if (transaction->error == 0 || transaction->refused == transaction->sequence)
                return transaction->count;
        return (transaction->refused - transaction->sequence - 1) / 2;
}

static int check(const struct set_element *elements, size_t count, size_t *reterr_index)
{
        for (size_t i = 0; i < count; i++) {
                *reterr_index = i;
                if (strlen(elements[i].set) >= SET_ELEMENTS_NAME_SIZE)
                        return -ENAMETOOLONG;
                if (elements[i].timeout_ms == 0 ||
                    (elements[i].address.family != AF_INET && elements[i].address.family != AF_INET6))
                        return -EINVAL;
        }
        return 0;
}

static int change(struct set_elements *self, const struct set_element *elements, size_t count, bool removes,
                  size_t *reterr_index)
{
        int r = check(elements, count, reterr_index);

        for (size_t done = 0; r == 0 && done < count; done += SET_ELEMENTS_PER_TRANSACTION) {
                size_t left = count - done;
                struct transaction transaction = {
                        .elements = elements + done,
                        .count = left < SET_ELEMENTS_PER_TRANSACTION ? left : SET_ELEMENTS_PER_TRANSACTION,
                        .removes = removes,
                };
                r = run_transaction(self, &transaction);
                if (r < 0) {
                        size_t index = refused_index(&transaction);
                        *reterr_index = index == transaction.count ? count : done + index;
                }
        }
        return r;
}

int set_elements_put(struct set_elements *self, const struct set_element *elements, size_t count, size_t *reterr_index)
{
        return change(self, elements, count, false, reterr_index);
}

int set_elements_remove(struct set_elements *self, const struct set_element *elements, size_t count,
                        size_t *reterr_index)
{
        return change(self, elements, count, true, reterr_index);
}

/* Messages of a dump, one after the other, kept until it is known that nothing changed meanwhile. */
struct dump {
        char *bytes;
        size_t length;
        size_t capacity;
        int error;
};

static int on_message(const struct nlmsghdr *header, void *context)
{
        struct dump *dump = context;
        size_t needed = dump->length + MNL_ALIGN(header->nlmsg_len);

        if (needed > dump->capacity) {
                size_t capacity = needed * 2;
                char *bytes = capacity <= SET_ELEMENTS_DUMP_MAX_BYTES ? realloc(dump->bytes, capacity) : NULL;
                if (bytes == NULL) {
                        errno = capacity <= SET_ELEMENTS_DUMP_MAX_BYTES ? ENOMEM : E2BIG;
                        return MNL_CB_ERROR;
                }
                dump->bytes = bytes;
                dump->capacity = capacity;
        }
        memcpy(dump->bytes + dump->length, header, header->nlmsg_len);
        dump->length = needed;
        return MNL_CB_OK;
}

/* To be freed by the caller, also on failure. */
static int read_dump(const struct set_elements *self, const char *set, struct dump *dump)
{
        char bytes[MESSAGE_MAX_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));

        for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
                struct nlmsghdr *header = nftnl_nlmsg_build_hdr(bytes, NFT_MSG_GETSETELEM, NFPROTO_INET, NLM_F_DUMP, 0);
                mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, self->table);
                mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, set);
                dump->length = 0;
                int r = netlink_request(NETLINK_NETFILTER, header, on_message, dump);
                if (r != -EINTR)
                        return r;
        }
        return -EBUSY;
}

/* Who is to be told of elements. */
struct element_reader {
        const char *set;
        set_elements_element_fn on_element;
        void *context;
};

static int on_user_data(const struct nftnl_udata *data, void *context)
{
        char *comment = context;

        if (nftnl_udata_type(data) == NFTNL_UDATA_SET_ELEM_COMMENT)
                snprintf(comment, SET_ELEMENTS_COMMENT_MAX + 1, "%.*s", nftnl_udata_len(data),
                         (const char *)nftnl_udata_get(data));
        return 0;
}

static bool read_key(struct nftnl_set_elem *item, struct net_address *ret)
{
        uint32_t length = 0;
        const void *key = nftnl_set_elem_get(item, NFTNL_SET_ELEM_KEY, &length);

        if (key == NULL || (length != 4 && length != 16))
                return false;
        *ret = (struct net_address){ .family = length == 4 ? AF_INET : AF_INET6 };
        memcpy(ret->bytes, key, length);
        return true;
}

static int on_item(struct nftnl_set_elem *item, void *context)
{
        const struct element_reader *reader = context;
        char comment[SET_ELEMENTS_COMMENT_MAX + 1] = "";
        struct set_element element = { .set = reader->set, .comment = comment };
        uint32_t length = 0;
        const void *data = nftnl_set_elem_get(item, NFTNL_SET_ELEM_USERDATA, &length);

        if (!read_key(item, &element.address))
                return 0;
        if (data != NULL)
                (void)nftnl_udata_parse(data, length, on_user_data, comment);
        if (nftnl_set_elem_is_set(item, NFTNL_SET_ELEM_EXPIRATION)) {
                element.timeout_ms = nftnl_set_elem_get_u64(item, NFTNL_SET_ELEM_EXPIRATION);
                if (element.timeout_ms == 0)
                        element.timeout_ms = 1; /* It ends now, which is not the same as never. */
        }
        reader->on_element(&element, reader->context);
        return 0;
}

static int tell_elements(const struct nlmsghdr *header, struct element_reader *reader)
{
        struct nftnl_set *set = nftnl_set_alloc();

        if (set == NULL)
                return -ENOMEM;
        if (nftnl_set_elems_nlmsg_parse(header, set) == 0)
                (void)nftnl_set_elem_foreach(set, on_item, reader);
        nftnl_set_free(set);
        return 0;
}

int set_elements_dump(const struct set_elements *self, const char *set, set_elements_element_fn on_element,
                      void *context)
{
        struct element_reader reader = { .set = set, .on_element = on_element, .context = context };
        struct dump dump = { 0 };

        if (strlen(set) >= SET_ELEMENTS_NAME_SIZE)
                return -ENOENT;
        int r = read_dump(self, set, &dump);
        for (size_t at = 0; at < dump.length && r == 0;) {
                const struct nlmsghdr *header = (const struct nlmsghdr *)(dump.bytes + at);
                r = tell_elements(header, &reader);
                at += MNL_ALIGN(header->nlmsg_len);
        }
        free(dump.bytes);
        return r;
}
