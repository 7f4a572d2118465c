// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0
//
// A load of AMQP devices and readers on Qpid Proton's C library, so that figures do not rest on our own client alone.
//
//   proton-bench send HOST PORT PID SECONDS LINKS UNSETTLED BYTES TOKENS
//   proton-bench read HOST PORT PID COUNT ENTITY PARTITIONS KEY
//
// `send` puts the tokens of a file (lines `address token`: the audience and its shared access signature, the audience ending in
// the device's id) on one connection, attaches a telemetry link for each, and keeps UNSETTLED messages of BYTES bytes under way on
// every link; a message counts when it was accepted. `read` signs in by PLAIN as the policy `service` and reads COUNT events of
// all partitions from their beginnings. Both print messages per second and the CPU time of process PID for a message. No TLS:
// what is measured is the protocol.

#include <inttypes.h>
#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/message.h>
#include <proton/proactor.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/transport.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINKS_MAX = 1024, LINE_MAX_BYTES = 4096, READ_CREDIT = 2000 };

typedef struct {
    char *audience;
    char *token;
} Token;

typedef struct {
    bool sends;
    int pid;
    double seconds;
    int links, unsettled, partitions;
    const char *entity;
    Token tokens[LINKS_MAX];
    // What is sent on every link, encoded.
    char *message;
    size_t message_size;
    pn_link_t *targets[LINKS_MAX];
    int under_way[LINKS_MAX];
    pn_link_t *claims_out, *claims_in;
    int token_index, attached;
    bool claiming, measuring, done, failed;
    uint64_t counted, wanted, rejected, bytes;
    double started, ended, cpu_started, cpu_ended;
} Bench;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/// The CPU time of a process in seconds, user and system.
static double cpu_of(int pid) {
    char path[64], line[2048];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t n = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[n] = 0;
    // The name of the program is in parentheses and may hold anything.
    char *rest = strrchr(line, ')');
    unsigned long user = 0, system = 0;
    if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void measure(Bench *bench) {
    bench->measuring = true;
    bench->counted = bench->bytes = 0;
    bench->started = now();
    bench->cpu_started = cpu_of(bench->pid);
}

static void finish(Bench *bench, pn_connection_t *connection) {
    if (bench->done) return;
    bench->ended = now();
    bench->cpu_ended = cpu_of(bench->pid);
    bench->done = true;
    pn_connection_close(connection);
}

static void encode(pn_message_t *message, char **bytes, size_t *size) {
    *size = 65536;
    *bytes = malloc(*size);
    if (!*bytes || pn_message_encode(message, *bytes, size) != 0) {
        fprintf(stderr, "a message cannot be encoded\n");
        exit(1);
    }
}

// Devices

static pn_link_t *attach_sender(pn_session_t *session, const char *name, const char *address) {
    pn_link_t *link = pn_sender(session, name);
    pn_terminus_set_address(pn_link_target(link), address);
    pn_terminus_set_address(pn_link_source(link), "bench");
    pn_link_open(link);
    return link;
}

static pn_link_t *attach_receiver(pn_session_t *session, const char *name, const char *address, int credit) {
    pn_link_t *link = pn_receiver(session, name);
    pn_terminus_set_address(pn_link_source(link), address);
    pn_terminus_set_address(pn_link_target(link), "bench");
    pn_link_open(link);
    pn_link_flow(link, credit);
    return link;
}

static void put_token(Bench *bench) {
    pn_message_t *message = pn_message();
    Token *token = &bench->tokens[bench->token_index];
    pn_data_t *properties = pn_message_properties(message);
    const char *pairs[3][2] = {
        {"operation", "put-token"}, {"type", "servicebus.windows.net:sastoken"}, {"name", token->audience}};
    pn_data_put_map(properties);
    pn_data_enter(properties);
    for (int i = 0; i < 3; i++) {
        pn_data_put_string(properties, pn_bytes(strlen(pairs[i][0]), pairs[i][0]));
        pn_data_put_string(properties, pn_bytes(strlen(pairs[i][1]), pairs[i][1]));
    }
    pn_data_exit(properties);
    pn_data_put_string(pn_message_body(message), pn_bytes(strlen(token->token), token->token));
    char *bytes;
    size_t size;
    encode(message, &bytes, &size);
    pn_message_free(message);
    char tag[16];
    snprintf(tag, sizeof tag, "t%d", bench->token_index);
    pn_delivery(bench->claims_out, pn_dtag(tag, strlen(tag)));
    pn_link_send(bench->claims_out, bytes, size);
    pn_link_advance(bench->claims_out);
    free(bytes);
}

/// Attaches the telemetry link of a token's device: the last segment of the audience.
static void attach_device(Bench *bench, pn_session_t *session, int index) {
    char address[512], name[64];
    const char *slash = strrchr(bench->tokens[index].audience, '/');
    snprintf(address, sizeof address, "/devices/%s/messages/events", slash ? slash + 1 : "");
    snprintf(name, sizeof name, "telemetry-%d", index);
    bench->targets[index] = attach_sender(session, name, address);
    pn_link_set_context(bench->targets[index], &bench->under_way[index]);
}

static void send_more(Bench *bench, pn_link_t *link) {
    int *under_way = pn_link_get_context(link);
    if (!under_way || bench->done || !bench->measuring) return;
    while (*under_way < bench->unsettled && pn_link_credit(link) > 0) {
        uint64_t tag = bench->counted + (uint64_t)*under_way;
        pn_delivery(link, pn_dtag((const char *)&tag, sizeof tag));
        pn_link_send(link, bench->message, bench->message_size);
        pn_link_advance(link);
        ++*under_way;
    }
}

static void sent(Bench *bench, pn_delivery_t *delivery, pn_connection_t *connection) {
    if (!pn_delivery_updated(delivery) || pn_delivery_remote_state(delivery) == 0) return;
    pn_link_t *link = pn_delivery_link(delivery);
    bool accepted = pn_delivery_remote_state(delivery) == PN_ACCEPTED;
    pn_delivery_settle(delivery);
    int *under_way = pn_link_get_context(link);
    if (!under_way) return;
    --*under_way;
    if (accepted) bench->counted++;
    else bench->rejected++;
    if (bench->measuring && now() - bench->started > bench->seconds) finish(bench, connection);
    send_more(bench, link);
}

// Both

static void received(Bench *bench, pn_delivery_t *delivery, pn_connection_t *connection) {
    if (pn_delivery_partial(delivery) || !pn_delivery_readable(delivery)) return;
    pn_link_t *link = pn_delivery_link(delivery);
    static char bytes[1 << 20];
    ssize_t size = pn_link_recv(link, bytes, sizeof bytes);
    pn_link_advance(link);
    pn_delivery_update(delivery, PN_ACCEPTED);
    pn_delivery_settle(delivery);
    if (link == bench->claims_in) {
        // The bytes of `status-code` 200 as an int: the only thing of interest in an answer.
        bool is_ok = memmem(bytes, (size_t)size, "\x71\x00\x00\x00\xc8", 5) != NULL;
        if (!is_ok) {
            fprintf(stderr, "token %d was refused\n", bench->token_index);
            bench->failed = true;
            pn_connection_close(connection);
            return;
        }
        attach_device(bench, pn_link_session(link), bench->token_index);
        if (++bench->token_index < bench->links) put_token(bench);
        return;
    }
    if (!bench->measuring) measure(bench);
    bench->counted++;
    bench->bytes += (uint64_t)size;
    if (pn_link_credit(link) < READ_CREDIT / 2) pn_link_flow(link, READ_CREDIT - pn_link_credit(link));
    if (bench->counted >= bench->wanted) finish(bench, connection);
}

static void opened(Bench *bench, pn_connection_t *connection) {
    pn_session_t *session = pn_session(connection);
    pn_session_open(session);
    if (bench->sends) {
        bench->claims_in = attach_receiver(session, "claims-in", "$cbs", 100);
        bench->claims_out = attach_sender(session, "claims-out", "$cbs");
        return;
    }
    for (int i = 0; i < bench->partitions; i++) {
        char address[512], name[64];
        snprintf(address, sizeof address, "%s/ConsumerGroups/$Default/Partitions/%d", bench->entity, i);
        snprintf(name, sizeof name, "reader-%d", i);
        attach_receiver(session, name, address, READ_CREDIT);
    }
}

static void tell(Bench *bench, const char *what, pn_condition_t *condition) {
    if (!condition || !pn_condition_is_set(condition)) return;
    const char *text = pn_condition_get_description(condition);
    fprintf(stderr, "%s: %s: %s\n", what, pn_condition_get_name(condition), text ? text : "");
    bench->failed = true;
}

static bool handle(Bench *bench, pn_event_t *event) {
    pn_connection_t *connection = pn_event_connection(event);
    switch (pn_event_type(event)) {
    case PN_CONNECTION_INIT: pn_connection_open(connection); break;
    case PN_CONNECTION_REMOTE_OPEN: opened(bench, connection); break;
    case PN_LINK_REMOTE_OPEN: {
        pn_link_t *link = pn_event_link(event);
        if (pn_link_get_context(link) && ++bench->attached == bench->links) {
            measure(bench);
            for (int i = 0; i < bench->links; i++) send_more(bench, bench->targets[i]);
        }
        break;
    }
    case PN_LINK_FLOW: {
        pn_link_t *link = pn_event_link(event);
        if (link == bench->claims_out) {
            if (!bench->claiming) put_token(bench);
            bench->claiming = true;
        } else {
            send_more(bench, link);
        }
        break;
    }
    case PN_DELIVERY: {
        pn_delivery_t *delivery = pn_event_delivery(event);
        if (pn_link_is_receiver(pn_delivery_link(delivery))) received(bench, delivery, connection);
        else sent(bench, delivery, connection);
        break;
    }
    case PN_LINK_REMOTE_CLOSE:
        tell(bench, "link", pn_link_remote_condition(pn_event_link(event)));
        if (bench->failed) pn_connection_close(connection);
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        tell(bench, "connection", pn_connection_remote_condition(connection));
        pn_connection_close(connection);
        break;
    case PN_TRANSPORT_CLOSED: tell(bench, "transport", pn_transport_condition(pn_event_transport(event))); break;
    case PN_PROACTOR_INACTIVE: return false;
    default: break;
    }
    return true;
}

static void read_tokens(Bench *bench, const char *path) {
    FILE *file = fopen(path, "r");
    char line[LINE_MAX_BYTES];
    if (!file) {
        perror(path);
        exit(1);
    }
    int count = 0;
    while (count < bench->links && fgets(line, sizeof line, file)) {
        char *blank = strchr(line, ' ');
        if (!blank) continue;
        *blank = 0;
        blank[strcspn(blank + 1, "\n") + 1] = 0;
        bench->tokens[count++] = (Token){strdup(line), strdup(blank + 1)};
    }
    fclose(file);
    bench->links = count;
}

int main(int argc, char **argv) {
    Bench bench = {0};
    const char *key = NULL;
    if (argc == 10 && strcmp(argv[1], "send") == 0) {
        bench.sends = true;
        bench.seconds = atof(argv[5]);
        bench.links = atoi(argv[6]);
        if (bench.links > LINKS_MAX) bench.links = LINKS_MAX;
        bench.unsettled = atoi(argv[7]);
        read_tokens(&bench, argv[9]);
        size_t size = (size_t)atol(argv[8]);
        char *body = calloc(1, size + 1);
        pn_message_t *message = pn_message();
        pn_message_set_inferred(message, true);
        pn_data_put_binary(pn_message_body(message), pn_bytes(size, body));
        encode(message, &bench.message, &bench.message_size);
        pn_message_free(message);
        free(body);
    } else if (argc == 9 && strcmp(argv[1], "read") == 0) {
        bench.wanted = strtoull(argv[5], NULL, 10);
        bench.entity = argv[6];
        bench.partitions = atoi(argv[7]);
        key = argv[8];
    } else {
        fprintf(stderr, "usage: see the head of proton-bench.c\n");
        return 2;
    }
    bench.pid = atoi(argv[4]);
    char address[PN_MAX_ADDR];
    pn_proactor_addr(address, sizeof address, argv[2], argv[3]);
    pn_proactor_t *proactor = pn_proactor();
    pn_connection_t *connection = pn_connection();
    pn_transport_t *transport = pn_transport();
    pn_connection_set_container(connection, "proton-bench");
    pn_connection_set_hostname(connection, argv[2]);
    pn_sasl_set_allow_insecure_mechs(pn_sasl(transport), true);
    pn_sasl_allowed_mechs(pn_sasl(transport), bench.sends ? "ANONYMOUS" : "PLAIN");
    if (key) {
        pn_connection_set_user(connection, "service");
        pn_connection_set_password(connection, key);
    }
    pn_proactor_connect2(proactor, connection, transport, address);
    bool runs = true;
    while (runs) {
        pn_event_batch_t *events = pn_proactor_wait(proactor);
        for (pn_event_t *event; runs && (event = pn_event_batch_next(events));) runs = handle(&bench, event);
        pn_proactor_done(proactor, events);
    }
    pn_proactor_free(proactor);
    if (bench.failed || !bench.done || bench.counted == 0) return 1;
    double seconds = bench.ended - bench.started, cpu = bench.cpu_ended - bench.cpu_started;
    printf(
        "%s: %" PRIu64 " messages in %.2f s, %.0f/s, rejected %" PRIu64 ", server CPU %.2f s = %.2f us a message\n",
        argv[1], bench.counted, seconds, (double)bench.counted / seconds, bench.rejected, cpu,
        cpu * 1e6 / (double)bench.counted);
    return 0;
}
