/* A slave on Debian's libmodbus: an independent witness for the agent. slave tcp | slave rtu PORT UNIT.
   Prints its TCP port (or 0) when it is ready, and ends with its parent. */
#include <modbus.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static modbus_mapping_t *filled(void) {
    modbus_mapping_t *map = modbus_mapping_new(40, 40, 60, 60);
    uint16_t *r = map->tab_registers;
    int i;
    MODBUS_SET_INT32_TO_INT16(r, 0, 0x89ABCDEF);
    MODBUS_SET_INT64_TO_INT16(r, 2, (int64_t)0x8123456789ABCDEF);
    r[6] = (uint16_t)-1234;
    r[7] = 0x8000;
    r[8] = 0x1234;
    r[9] = 0x12A4;
    r[10] = 0x0021;
    memcpy(&r[20], "EPLP1 M\0", 8); /* in memory order: bytes within a register are swapped on a little-endian machine */
    modbus_set_float(-12.5f, &r[32]);
    for (i = 0; i < 40; i++) {
        map->tab_bits[i] = i % 3 == 0;
        map->tab_input_bits[i] = i % 7 == 1;
    }
    for (i = 0; i < 60; i++) map->tab_input_registers[i] = (uint16_t)(1000 + 17 * i);
    return map;
}

int main(int argc, char **argv) {
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_mapping_t *map = filled();
    modbus_t *ctx;
    int length, listening = -1, port = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc == 2 && !strcmp(argv[1], "tcp")) {
        struct sockaddr_in at;
        socklen_t size = sizeof at;
        ctx = modbus_new_tcp("127.0.0.1", 0);
        listening = modbus_tcp_listen(ctx, 1);
        if (listening < 0 || getsockname(listening, (struct sockaddr *)&at, &size) < 0) return 1;
        port = ntohs(at.sin_port);
    } else if (argc == 4) {
        ctx = modbus_new_rtu(argv[2], 19200, 'N', 8, 1);
        modbus_set_slave(ctx, atoi(argv[3]));
        if (modbus_connect(ctx) < 0) return 1;
    } else {
        return 2;
    }
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        if (listening >= 0 && modbus_tcp_accept(ctx, &listening) < 0) return 1;
        while ((length = modbus_receive(ctx, query)) >= 0)
            if (length > 0) modbus_reply(ctx, query, length, map);
        if (listening < 0) modbus_flush(ctx);
    }
}
