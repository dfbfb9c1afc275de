// SPDX-License-Identifier: BSD-2-Clause
#include "scene.h"
int main() {
    return 0;
}
