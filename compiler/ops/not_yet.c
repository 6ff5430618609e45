/* Kinds of the language that this version reads but cannot compile: a description that uses one
 * gets a message that says so, instead of an unknown name. */
#include "op.h"

#define NOT_YET(identifier, kind, other_names, text)                                               \
    const OpDef op_##identifier = {                                                                \
        .name = kind, .aliases = other_names, .summary = text, .flags = OP_NOT_YET}

NOT_YET(upconv, "UPCONV", "DECONV", "transposed convolution");
NOT_YET(lppool, "LPPOOL", NULL, "power-average pooling of order p");
NOT_YET(stochpool, "STOCHPOOL", NULL, "stochastic pooling");
NOT_YET(fracpool, "FRACPOOL", NULL, "fractional maximum pooling");
NOT_YET(upsample, "UPSAMPLE", NULL, "enlarges by a factor: nearest or bilinear");
NOT_YET(pixelshuffle, "PIXELSHUFFLE", NULL, "moves channels into space, r*r of them to a pixel");
NOT_YET(shuffle, "SHUFFLE", NULL, "interleaves the channels of groups");
NOT_YET(unpool, "UNPOOL", NULL, "puts maxima back to where a pooling layer found them");
NOT_YET(crop, "CROP", NULL, "cuts off the margins");
NOT_YET(pad, "PAD", NULL, "adds margins: zero, reflected or repeated");
NOT_YET(groupnorm, "GROUPNORM", "GN", "normalisation over groups of channels");
NOT_YET(layernorm, "LAYERNORM", "LN", "normalisation over each example");
NOT_YET(instnorm, "INSTNORM", NULL, "normalisation over the space of each channel");
NOT_YET(spatialdropout, "SPATIALDROPOUT", NULL, "drops whole channels at random in training");
NOT_YET(noise, "NOISE", NULL, "adds Gaussian noise in training");
NOT_YET(stn, "STN", NULL, "spatial transformer");
