"""Refusals of the venue, with its own codes and texts."""


class VenueError(Exception):
    """What the venue answers instead of doing what was asked: a code, a text and an HTTP status."""

    def __init__(self, code: int, text: str, *, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text, self.status, self.retry_after = code, text, status, retry_after


_TEXTS = {
    -1102: "Mandatory parameter '{}' was not sent, was empty/null, or malformed.",
    -1106: "Parameter '{}' sent when not required.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1121: "Invalid symbol.",
    -1130: "Data sent for a parameter is not valid.",
    -2010: "New order rejected.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id is not valid.",
    -4016: "Limit price can't be higher than {}.",
    -4023: "Quantity not increased by step size.",
    -4024: "Limit price can't be lower than {}.",
    -4028: "Leverage {} is not valid",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4059: "No need to change position side.",
    -4061: "Order's position side does not match user's setting.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4111: "ClientOrderId is duplicated.",
    -4116: "ClientOrderId is duplicated.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4130: "An open stop or take profit order with GTE and closePosition in the direction is existing.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4137: "Quantity must be zero with closePosition equals true.",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4164: "Order's notional must be no smaller than {} (unless you choose reduce only).",
    -4168: "Unable to adjust to Multi-Assets mode with symbols under isolated-margin mode.",
    -4171: "No need to change multi-assets mode.",
    -4509: "Time in Force (TIF) GTE can only be used with open positions."
    " Please ensure that positions are available.",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected."
    " The order will not be recorded in the order history.",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected."
    " The order will not be recorded in the order history.",
    -5027: "No need to modify the order.",
}


def refusal(code: int, *values: object) -> VenueError:
    """The venue's refusal with this code, its text filled with the values."""
    return VenueError(code, _TEXTS[code].format(*values))
