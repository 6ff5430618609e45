/* Grouped convolution as contractions, for CONV and DWCONV. With x [n][C][i...], weight
 * [F][C/groups][k...], y [n][F][o...], filter f = g*(F/groups) + oc in group g:
 *   y[n, f, o]       = bias[f] + sum over ic, k of x[n, g*(C/groups) + ic, o*S + k*D - P] *
 * weight[f, ic, k] dweight[f, ic, k] = sum over n, o of dy[n, f, o] * x[n, g*(C/groups) + ic, o*S +
 * k*D - P] dx[n, c, i]      = sum over oc, k of dy[n, f, (i + P - k*D)/S] * weight[f, ic, k] where
 * an element outside its tensor, or at a fraction, is 0. */
#ifndef CNNC_OPS_CONVOLUTION_H
#define CNNC_OPS_CONVOLUTION_H

#include "../lower.h"
#include "../window.h"

/* Parameters in the order weight, bias; the window is the layer's. */
void convolution_forward(Lowering *lowering, const Node *node);
int64_t convolution_tile_numbers(Lowering *lowering, const Node *node);
void convolution_parameter_gradient(Lowering *lowering, const Node *node);
void convolution_data_gradient(Lowering *lowering, const Node *node);

/* The specs of weight and, where `bias`, of bias: `filters` per layer, `inputs` channels for each.
 * Returns how many. */
int convolution_parameters(Counter *counter, const Layer *layer, int64_t filters, int64_t inputs,
                           bool bias, ParameterSpec *specs);

/* db[c] = sum over examples and positions of dy, for any rank. */
void lower_bias_gradient(Lowering *lowering, const Node *node, Tensor *bias_gradient);

#endif
